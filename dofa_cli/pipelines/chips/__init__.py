"""Small images as samples."""
